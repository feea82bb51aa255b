export type { LeaseClock } from './leases.ts';
export { createMemoryStore, type MemoryStoreOptions } from './memory/memory-store.ts';
export type * from './port.ts';
export { openSqliteStore, type SqliteStoreOptions } from './sqlite/sqlite-store.ts';
