/** What the list of people and the sheet of one have in common. */
import { Checkbox } from "@mantine/core";
import type { ItemOf } from "../../api/client.ts";
import { useWords } from "../../app/surroundings.tsx";

export type Person = ItemOf<"GET /v1/people">;
/** Identity's list, closed: packages/identity/src/people/roles.ts. */
const ROLES = ["viewer", "operator", "approver", "engineer", "auditor", "admin"] as const;

export function RolePicker({
  roles,
  onRoles,
}: {
  readonly roles: readonly string[];
  readonly onRoles: (roles: readonly string[]) => void;
}) {
  const { t } = useWords();
  return (
    <fieldset className="roles">
      <legend>{t("person.roles")}</legend>
      {ROLES.map((role) => (
        <Checkbox
          key={role}
          label={`${role}: ${t(`role.${role}`)}`}
          checked={roles.includes(role)}
          onChange={(event) =>
            onRoles(
              event.currentTarget.checked ? [...roles, role] : roles.filter((one) => one !== role),
            )
          }
        />
      ))}
    </fieldset>
  );
}

export function InviteLink({ secret }: { readonly secret: string }) {
  const { t } = useWords();
  const link = `${location.origin}/invite#${secret}`;
  return (
    <div className="note" role="status">
      <p>{t("invite.link")}</p>
      <code className="cli">{link}</code>
      <button
        type="button"
        className="link"
        onClick={() => void navigator.clipboard.writeText(link)}
      >
        {t("copy")}
      </button>
    </div>
  );
}
