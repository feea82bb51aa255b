/** What an agent needs of the device program, and nothing that it runs: memory counts. */
export { HubClient, type Standing, type Trouble } from './client.ts';
export { DEFAULT_LISTEN, parseListenUrl } from './listen.ts';
export type { Local, LocalEndpoint } from './local.ts';
export type { ReportLine } from './reports.ts';
