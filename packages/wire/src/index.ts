/**
 * Bytes to messages and back, one folder a protocol. Touches nothing: bytes come in as arguments.
 * @module
 */
export {};
