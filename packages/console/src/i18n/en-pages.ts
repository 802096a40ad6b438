/** English, the pages behind the first one. */
export const enPages = {
  "for-root": "to approve with this key (for root)",
  "for-root.what":
    "Approvers sign for new keys under People → Approvers. While there are too few of them, root on the gateway enrolls this one:",
  "link.after": "Your device keeps the key; the gateway only ever sees its public half.",
  "link.again": "Make the passkey",
  "link.enter": "Sign in with the new passkey",
  "link.first": "First administrator",
  "link.first.lead":
    "This link is good once. You choose a name and make a passkey; that key is also the first whose signatures open anything here.",
  "link.id": "Short name",
  "link.id.hint": "Lower-case letters, digits, . _ and -; it is in the record for good.",
  "link.in": "You are in",
  "link.in.what": "The passkey is made and you are signed in with it.",
  "link.invitation": "Your invitation",
  "link.invitation.lead":
    "This link is good once. You make a passkey with which you sign in from now on.",
  "link.make": "Open the link and make a passkey",
  "link.name": "Full name",
  "link.none": "There is no link here.",
  "link.none.why":
    "The part after # is missing: it was used, or the address was cut when it was copied.",
  "link.passkey-name": "first passkey",
  "link.to-console": "To the console",
  "link.to-sign-in": "To the sign-in",
} as const;
