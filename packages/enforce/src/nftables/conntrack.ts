/**
 * What connection tracking must be told so that it tracks as packet-semantics.md says.
 *
 * Where it still differs, found by trying every conversation of four packets; none lets a packet through
 * that has no live session or open conduit:
 * - RST answers the first SYN: the kernel forgets the session, the page keeps it closing for a while. What
 *   follows is judged as if there were no session.
 * - The answering side sends ACK to a SYN, then the opener RST: the kernel keeps the session closing.
 * - SYN from the opener after the end: the kernel begins anew, so ACK and FIN must wait for SYN+ACK again.
 * - The budget does not count sessions in CLOSE or TIME_WAIT, the page counts all that are closing.
 * - ICMP errors with a wrong ICMP checksum are dropped where address translation is in use.
 */
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
  const named = (name: string): string => `net.netfilter.nf_conntrack_${name}`;
  return Object.fromEntries(Object.entries(seconds).map(([name, to]) => [named(name), `${to}`]));
}
