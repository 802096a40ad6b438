import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { hoursQuery } from "../../api/queries.ts";
import { useWords } from "../../app/surroundings.tsx";
import { Loading, Section } from "../../parts/basics.tsx";
import { type Boundary, boundaries, HOURS } from "./strip.ts";

const BAR = 9;
const HEIGHT = 34;

export function Strip() {
  const { t } = useWords();
  const hours = useQuery(hoursQuery);
  const { dataUpdatedAt } = hours;
  const found = useMemo(
    () => boundaries(hours.data?.items ?? [], dataUpdatedAt),
    [hours.data, dataUpdatedAt],
  );
  return (
    <Section title={t("strip.title")}>
      <Loading query={hours} />
      {hours.data !== undefined && found.length === 0 ? (
        <p className="dim">{t("strip.nothing")}</p>
      ) : null}
      <div className="strips">
        {found.map((boundary) => (
          <Bars key={boundary.point} boundary={boundary} />
        ))}
      </div>
      {hours.data?.isCut === true ? <p className="small dim">{t("cut")}</p> : null}
    </Section>
  );
}

/** Refused stands on top in the alarm's color and a word beside says how many: color is never alone. */
function Bars({ boundary }: { readonly boundary: Boundary }) {
  const { t, tn, number } = useWords();
  const { point, hours, accepted, refused } = boundary;
  const most = Math.max(1, ...hours.map((hour) => hour.accepted + hour.refused));
  const scale = (count: number): number =>
    count === 0 ? 0 : Math.max(1.5, (count / most) * HEIGHT);
  const text = `${point}: ${tn("strip.accepted", accepted)}, ${tn("strip.refused", refused)}`;
  return (
    <figure className="bars">
      <figcaption>
        <b>{point}</b> <span className="dim">{tn("strip.accepted", accepted)}</span>
        {refused === 0 ? null : (
          <span className="mark mark-low"> ◆ {tn("strip.refused", refused)}</span>
        )}
      </figcaption>
      <svg
        viewBox={`0 0 ${HOURS * BAR} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={text}
      >
        {hours.map((hour, index) => {
          const good = scale(hour.accepted);
          const bad = scale(hour.refused);
          return (
            <g key={hour.startMs}>
              <rect
                className="bar-base"
                x={index * BAR}
                y={HEIGHT - 1}
                width={BAR - 2}
                height={1}
              />
              <rect
                className="bar"
                x={index * BAR}
                y={HEIGHT - good}
                width={BAR - 2}
                height={good}
              />
              <rect
                className="bar-refused"
                x={index * BAR}
                y={Math.max(0, HEIGHT - good - bad)}
                width={BAR - 2}
                height={bad}
              />
              <title>{`${new Date(hour.startMs).toISOString()}: ${number(hour.accepted)} / ${number(hour.refused)}`}</title>
            </g>
          );
        })}
      </svg>
      <p className="small dim bars-scale">
        <span>{t("strip.start")}</span>
        <span>{t("strip.end")}</span>
      </p>
    </figure>
  );
}
