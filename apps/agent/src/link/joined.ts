/** What only an agent on another machine than its controller needs: loaded there, for it costs memory. */
export { type ConnectionOptions, ControllerConnection } from './connection.ts';
export { type CredentialKeep, type Credentials, joinController, readCredentials } from './credentials.ts';
