export {
  type Frame,
  type FrameRefusal,
  ICMP_TYPE,
  type IcmpHead,
  IP_PROTOCOL,
  isIcmpError,
  type Packet,
  readFrame,
  TCP_FLAG,
  type Tuple,
} from "./frame.ts";
export { type FrameSpec, quoteOf, writeArp, writeFrame, writeIpv6 } from "./write-frame.ts";
