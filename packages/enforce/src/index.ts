/**
 * Legs to kernel rules: rooms, guard routes, both engines, apply and roll back. Runs kernel tools as root.
 * @module
 */
export {};
