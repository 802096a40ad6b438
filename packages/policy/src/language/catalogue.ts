/**
 * Services by name: the ports that IANA or the protocol's specification gives. `ot` marks protocols
 * that read or move a process; `unsupported` says why a conduit can't name it.
 */
export interface CatalogueService {
  readonly tcp?: readonly (number | string)[];
  readonly udp?: readonly (number | string)[];
  readonly icmp?: "echo";
  readonly ot?: true;
  readonly decoder?: "modbus";
  readonly unsupported?: string;
}

const LAYER_2 = "it has no IP addresses, and rooms route: it stays inside its cell";
const FTP = "FTP opens second connections on ports it negotiates; use sftp (ssh) or https";

const entries: readonly (readonly [string, CatalogueService])[] = [
  // Plant protocols.
  ["modbus", { tcp: [502], ot: true, decoder: "modbus" }],
  ["opc-ua", { tcp: [4840], ot: true }],
  ["s7", { tcp: [102], ot: true }],
  ["mms", { tcp: [102], ot: true }],
  ["iec104", { tcp: [2404], ot: true }],
  ["dnp3", { tcp: [20_000], udp: [20_000], ot: true }],
  ["dnp3-tcp", { tcp: [20_000], ot: true }],
  ["enip", { tcp: [44_818], udp: [2222, 44_818], ot: true }],
  ["enip-explicit", { tcp: [44_818], ot: true }],
  ["enip-io", { udp: [2222], ot: true }],
  ["bacnet", { udp: [47_808], ot: true }],
  ["profinet-cm", { udp: [34_964], ot: true }],
  ["hart-ip", { tcp: [5094], udp: [5094], ot: true }],
  ["fins", { tcp: [9600], udp: [9600], ot: true }],
  ["fins-tcp", { tcp: [9600], ot: true }],
  ["goose", { ot: true, unsupported: `GOOSE is ethertype 0x88b8: ${LAYER_2}` }],
  ["sv", { ot: true, unsupported: `sampled values are ethertype 0x88ba: ${LAYER_2}` }],
  ["profinet-rt", { ot: true, unsupported: `PROFINET RT is ethertype 0x8892: ${LAYER_2}` }],
  ["profinet-dcp", { ot: true, unsupported: `PROFINET DCP is ethertype 0x8892: ${LAYER_2}` }],
  ["ethercat", { ot: true, unsupported: `EtherCAT is ethertype 0x88a4: ${LAYER_2}` }],
  // What plants share with offices.
  ["ntp", { udp: [123] }],
  ["ptp", { unsupported: "PTP (IEEE 1588) is multicast, and routing it ruins its timing" }],
  ["dns", { tcp: [53], udp: [53] }],
  [
    "dhcp",
    { unsupported: "DHCP is broadcast; give hosts fixed addresses, or run a server per zone" },
  ],
  ["syslog", { udp: [514] }],
  ["syslog-tcp", { tcp: [601] }],
  ["syslog-tls", { tcp: [6514] }],
  ["snmp", { udp: [161] }],
  ["snmp-trap", { udp: [162] }],
  ["ssh", { tcp: [22] }],
  ["telnet", { tcp: [23] }],
  ["http", { tcp: [80] }],
  ["https", { tcp: [443] }],
  ["rdp", { tcp: [3389] }],
  ["vnc", { tcp: [5900] }],
  ["winrm", { tcp: [5985, 5986] }],
  ["smb", { tcp: [445] }],
  ["ldap", { tcp: [389] }],
  ["ldaps", { tcp: [636] }],
  ["kerberos", { tcp: [88], udp: [88] }],
  ["radius", { udp: [1812, 1813] }],
  ["mqtt", { tcp: [1883] }],
  ["mqtts", { tcp: [8883] }],
  ["amqps", { tcp: [5671] }],
  ["postgres", { tcp: [5432] }],
  ["mssql", { tcp: [1433] }],
  ["mysql", { tcp: [3306] }],
  ["oracle", { tcp: [1521] }],
  [
    "opc-classic",
    { unsupported: "DCOM negotiates its ports; put an OPC UA wrapper beside the server" },
  ],
  ["ftp", { unsupported: FTP }],
  ["tftp", { unsupported: "TFTP answers from another port than it was asked on; use https" }],
  ["icmp-echo", { icmp: "echo" }],
];

export const CATALOGUE: ReadonlyMap<string, CatalogueService> = new Map(entries);

/** Protocols whose application layer the language will limit; only Modbus has a decoder so far. */
export const L7_PROTOCOLS: readonly string[] = [
  "modbus",
  "opc-ua",
  "s7",
  "mms",
  "dnp3",
  "iec104",
  "enip",
  "bacnet",
  "http",
  "https",
  "mqtt",
  "ssh",
];
