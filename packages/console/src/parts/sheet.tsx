/** Details at the side, and questions over the page: the browser's own dialog, which keeps focus inside and ends with Esc. */
import { type ReactNode, useEffect, useRef } from "react";
import { useWords } from "../app/surroundings.tsx";

export function Sheet({
  title,
  isSide = false,
  onClose,
  children,
}: {
  readonly title: string;
  readonly isSide?: boolean;
  readonly onClose: () => void;
  readonly children: ReactNode;
}) {
  const { t } = useWords();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const shown = dialog.current;
    if (shown !== null && !shown.open) shown.showModal();
    // The browser takes the first thing that can have the focus, which is the button that closes.
    shown?.querySelector<HTMLElement>("[data-autofocus]")?.focus();
    return () => shown?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      className={isSide ? "sheet sheet-side" : "sheet"}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <div className="sheet-head">
        <h2>{title}</h2>
        <button type="button" className="quiet" onClick={onClose}>
          {t("close")}
        </button>
      </div>
      <div className="sheet-body">{children}</div>
    </dialog>
  );
}
