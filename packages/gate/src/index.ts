/**
 * Inspecting proxies, one listener a conduit. Touches only the network.
 * @module
 */
export {};
