/** What connection tracking must be told so that it tracks as packet-semantics.md says. */
import type { EngineLimits } from "@sallyport/policy/legs";

/**
 * Per room, `net.…` → value. Helpers need no switch: kernels since 6.0 attach none by themselves.
 */
export function conntrackSysctls(limits: EngineLimits): Readonly<Record<string, string>> {
  const { tcpOpening, tcpOpen, tcpClosing, udp, icmp } = limits.timeoutsSeconds;
  const seconds: Record<string, number> = {
    tcp_timeout_syn_sent: tcpOpening,
    tcp_timeout_syn_recv: tcpOpening,
    tcp_timeout_established: tcpOpen,
    tcp_timeout_fin_wait: tcpClosing,
    tcp_timeout_close_wait: tcpClosing,
    tcp_timeout_last_ack: tcpClosing,
    tcp_timeout_time_wait: tcpClosing,
    tcp_timeout_close: tcpClosing,
    // Shorter ends for retransmissions and unacknowledged data are no part of the meaning.
    tcp_timeout_max_retrans: tcpOpen,
    tcp_timeout_unacknowledged: tcpOpen,
    udp_timeout: udp,
    udp_timeout_stream: udp,
    icmp_timeout: icmp,
    // A session begins with SYN; windows and resets are judged by the end points.
    tcp_loose: 0,
    tcp_be_liberal: 1,
    tcp_ignore_invalid_rst: 1,
    checksum: 0,
  };
  return Object.fromEntries(
    Object.entries(seconds).map(([name, value]) => [
      `net.netfilter.nf_conntrack_${name}`,
      `${value}`,
    ]),
  );
}
