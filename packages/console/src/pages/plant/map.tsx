/** The map as SVG: zones and conduits can be reached by keyboard, and everything drawn is also said in words. */
import { type KeyboardEvent, memo } from "react";
import { useWords } from "../../app/surroundings.tsx";
import type { Words } from "../../i18n/i18n.ts";
import { layoutOf, type PlacedEdge, type PlacedNode, shorten } from "./layout.ts";
import type { MapEdge, PlantMap } from "./model.ts";

export interface MapProps {
  readonly map: PlantMap;
  readonly onZone: (zone: string) => void;
  readonly onEdge: (edge: MapEdge) => void;
}

export function labelOf(edge: MapEdge, { tn, rate, t }: Words): string {
  if (edge.refused > 0) return `▲ ${tn("map.refused", edge.refused)}`;
  const [first] = edge.conduits;
  const name =
    edge.conduits.length === 1
      ? shorten(first?.name ?? "")
      : tn("map.conduits", edge.conduits.length);
  const speed = edge.bytesPerSecond;
  if (!edge.isOpen) return `${name} · ${t("map.closed")}`;
  return speed === undefined || speed === 0 ? name : `${name} · ${rate(speed)}`;
}

export const PlantDrawing = memo(function PlantDrawing({ map, onZone, onEdge }: MapProps) {
  const words = useWords();
  const layout = layoutOf(map, (edge) => labelOf(edge, words));
  return (
    <div className="map-scroll" tabIndex={0} role="region" aria-label={words.t("map.title")}>
      <svg
        className="map"
        viewBox={`0 0 ${layout.width} ${layout.height}`}
        // Shrinks to what can still be read, then it scrolls.
        style={{ width: layout.width, minWidth: layout.width * READABLE }}
        role="group"
        aria-label={words.t("map.title")}
      >
        {layout.bands.map(({ band, x, y, width, height }) => (
          <g key={band} className={`band band-${band}`}>
            <rect x={x} y={y} width={width} height={height} rx="4" />
            <text x={x + 10} y={y + height / 2 + 4}>
              {words.t(`band.${band}`)}
            </text>
          </g>
        ))}
        {layout.edges.map((placed) => (
          <Line key={placed.edge.id} placed={placed} />
        ))}
        {layout.edges.map((placed) => (
          <Label key={placed.edge.id} placed={placed} words={words} onEdge={onEdge} />
        ))}
        {layout.nodes.map((placed) => (
          <Node key={placed.node.name} placed={placed} words={words} onZone={onZone} />
        ))}
      </svg>
    </div>
  );
});

const READABLE = 0.72;

/** Width is the logarithm of the rate; what has no rate yet is thin. */
function widthOf({ bytesPerSecond }: MapEdge): number {
  return Math.min(6, 1.25 + Math.log10(1 + (bytesPerSecond ?? 0)) * 0.9);
}

function Line({ placed }: { readonly placed: PlacedEdge }) {
  const { edge, points, gate } = placed;
  const open = edge.isOpen ? "line-open" : "line-closed";
  // Where no conduit leads nothing crosses: the line only says who tried.
  const tried = edge.conduits.length === 0 ? "line-refused line-tried" : "line-refused";
  const kind = edge.refused > 0 ? tried : open;
  const end = points.at(-1) ?? [0, 0];
  const before = points.at(-2) ?? end;
  const isDown = end[1] >= before[1];
  const tip = isDown ? -7 : 7;
  return (
    <g className={kind} aria-hidden="true">
      <polyline
        points={points.map((point) => point.join(",")).join(" ")}
        strokeWidth={widthOf(edge)}
      />
      <path
        d={`M${end[0] - 4},${end[1] + tip} L${end[0]},${end[1]} L${end[0] + 4},${end[1] + tip} Z`}
      />
      {gate === undefined ? null : (
        <rect className="gate" x={gate[0] - 6} y={gate[1] - 6} width={12} height={12} />
      )}
    </g>
  );
}

function Label({
  placed: { edge, label },
  words,
  onEdge,
}: {
  readonly placed: PlacedEdge;
  readonly words: Words;
  readonly onEdge: MapProps["onEdge"];
}) {
  const text = labelOf(edge, words);
  return (
    <g
      className={edge.refused > 0 ? "edge-label edge-label-refused" : "edge-label"}
      role="button"
      tabIndex={0}
      aria-label={`${text}: ${edge.from} → ${edge.to}`}
      onClick={() => onEdge(edge)}
      onKeyDown={pressed(() => onEdge(edge))}
    >
      <rect x={label.x} y={label.y} width={label.width} height={label.height} rx="3" />
      <text x={label.x + label.width / 2} y={label.y + label.height / 2 + 4} textAnchor="middle">
        {text}
      </text>
    </g>
  );
}

function Node({
  placed: { node, x, y, width, height },
  words,
  onZone,
}: {
  readonly placed: PlacedNode;
  readonly words: Words;
  readonly onZone: MapProps["onZone"];
}) {
  const island = node.isIsland ? ` (${words.t("zone.island")})` : "";
  return (
    <g
      className={`node node-${node.band}${node.isIsland ? " node-island" : ""}`}
      role="button"
      tabIndex={0}
      aria-label={`${node.name}${island}`}
      onClick={() => onZone(node.name)}
      onKeyDown={pressed(() => onZone(node.name))}
    >
      <rect x={x} y={y} width={width} height={height} rx="4" />
      <text x={x + width / 2} y={y + height / 2 + (node.isIsland ? -2 : 5)} textAnchor="middle">
        {shorten(node.name)}
      </text>
      {node.isIsland ? (
        <text x={x + width / 2} y={y + height / 2 + 14} textAnchor="middle" className="node-note">
          ■ {words.t("zone.island")}
        </text>
      ) : null}
      <title>{node.name}</title>
    </g>
  );
}

function pressed(act: () => void): (event: KeyboardEvent) => void {
  return (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    act();
  };
}
