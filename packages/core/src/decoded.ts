/**
 * What a decoder answers about bytes from a network. "Wait for more" and "close this connection"
 * must be told apart without catching anything, so a decoder never throws.
 */
export type Decoded<Message> =
  | { readonly kind: "message"; readonly message: Message; readonly sizeBytes: number }
  | { readonly kind: "incomplete"; readonly missingBytes: number }
  | { readonly kind: "malformed"; readonly offsetBytes: number; readonly why: string };
