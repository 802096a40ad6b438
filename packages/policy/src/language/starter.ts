/** A stand-in where the machine has too few NICs; the file says so. */
const MISSING = ["it0", "cella0"];

/**
 * A first policy for `sallyport init`: the machine's NICs, one IT zone and an OT zone for each other,
 * and nothing allowed. It compiles as it stands; an example conduit waits in comments.
 */
export function starterPolicy(nics: readonly string[]): string {
  const used = nics.length >= 2 ? nics : [...nics, ...MISSING.slice(nics.length)];
  const [it = "it0", ...cells] = used;
  const note =
    nics.length >= 2
      ? `# Found on this machine: ${nics.join(", ")}. Which cable is which, only you know: check.`
      : "# This machine has fewer than two NICs: the names below are examples, replace them.";
  return `# Sallyport policy: who may talk to whom, in which words, for whose reasons, until when.
# What isn't allowed here is denied. Check it:  sallyport policy validate site.yaml
# The whole language: docs/reference/policy.md
${note}
version: 1

site:
  name: my-plant
  timezone: Europe/Vienna          # weekly windows and dates mean this zone
  nodes: [gw1]
  # Addresses for the gateway's own rooms: two networks that nothing else in the plant uses.
  transit: { outer: 10.254.0.0/24, inner: 10.254.1.0/24 }

# IEC 62443 zones. "address" is the gateway's own address there, with the network's length.
zones:
  enterprise:
    kind: business                 # business | external | control | safety | temporary
    level: 4                       # Purdue level
    networks: [10.10.0.0/24]
    attach: { nic: ${it}, address: 10.10.0.1/24 }
    owner: it-operations
    sl-t: 1                        # target security level; or seven: [IAC, UC, SI, DC, RDF, TRE, RA]
  dmz:
    kind: dmz
    level: 3.5
    owner: ot-security
${cells.map(cellOf).join("")}
# Processes of the gateway in the DMZ, each in a room of its own. A gate decodes what passes it.
components:
  gate-erp: { kind: gate }

# Devices by name. Conduits through a gate name assets, never whole networks.
assets:
  erp: { zone: enterprise, address: 10.10.0.10 }
  tank-plc: { zone: cell-a, address: 10.41.0.10, tags: [plc] }

# Maintenance windows; a conduit names one with "when".
windows:
  sunday-maintenance: { days: [sun], from: "02:00", to: "06:00" }

# Nothing is allowed yet. Take the marks away to let the ERP system read one tank.
conduits:
  # erp-reads-tank:
  #   from: erp
  #   to: tank-plc
  #   service: modbus
  #   via: proxy
  #   through: gate-erp
  #   owner: process-engineering
  #   why: Fill levels for production planning
  #   expires: 2030-06-30          # its last day
  #   l7:
  #     modbus:
  #       functions: [read-holding-registers]
  #       units: [1]
  #       holding-registers: [0-99]

# What must hold whatever the conduits say; a policy that breaks one doesn't compile.
invariants:
  - never: { from: { kind: business }, to: { kind: control }, unless: { via: [proxy, session] } }
  - never: { to: { kind: safety } }
  - require: { field: l7, where: { service: modbus } }
`;
}

function cellOf(nic: string, index: number): string {
  const name = index < 26 ? `cell-${String.fromCharCode(97 + index)}` : `cell-${index + 1}`;
  const network = `10.${41 + index}.0`;
  return `  ${name}:
    kind: control
    level: 1
    networks: [${network}.0/24]
    attach: { nic: ${nic}, address: ${network}.1/24 }
    owner: process-engineering
    sl-t: 2
`;
}
