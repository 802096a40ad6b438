export { LINKTYPE_NFLOG, type NflogPacket, readNflog } from "./nflog.ts";
export { PcapReader, type PcapRecord, pcapFileHeader, pcapRecord } from "./pcap.ts";
