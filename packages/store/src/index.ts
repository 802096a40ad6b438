/**
 * The other packages' store interfaces on SQLite. Touches files.
 * @module
 */
export {};
