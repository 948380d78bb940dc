/**
 * Reasons of packet-ins that no wire knows: the match-all flow of priority 0 that OpenFlow 1.3 calls the table-miss flow,
 * and no flow at all. Connections get `no_match` or `action` for them, by version, or nothing.
 */
export const EXPLICIT_MISS = 6;
export const IMPLICIT_MISS = 7;
