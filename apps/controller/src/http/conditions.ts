/** If-Match and If-None-Match (RFC 9110, 13.1): a revision is the ETag of a resource. */
import { SkerryError } from '@skerry/model';

export interface Conditions {
  readonly ifMatch?: number | '*';
  readonly ifAbsent?: true;
}

export const etag = (revision: number): string => `"${revision}"`;

export function parseConditions(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Conditions {
  const match = headers['if-match'];
  const none = headers['if-none-match'];
  if (match === undefined && none === undefined) return {};
  const number = /^"(\d+)"$/.exec(String(match));
  if (match !== undefined && match !== '*' && !number) {
    throw new SkerryError('request_invalid', 'If-Match must be one ETag as it was given, such as "42", or *');
  }
  if (none !== undefined && none !== '*') {
    throw new SkerryError('request_invalid', 'If-None-Match must be * on a request that changes something');
  }
  return {
    ...(match !== undefined && { ifMatch: number ? Number(number[1]) : '*' }),
    ...(none !== undefined && { ifAbsent: true }),
  };
}

/** Errors: precondition_failed. `what` is for the message. */
export function requireConditions(conditions: Conditions, revision: number | undefined, what: string): void {
  const { ifMatch, ifAbsent } = conditions;
  if (ifAbsent && revision !== undefined) {
    throw new SkerryError('precondition_failed', `${what} exists, and the request wants it absent`, {
      details: { revision },
    });
  }
  if (ifMatch === undefined || revision === ifMatch || (ifMatch === '*' && revision !== undefined)) return;
  const at = revision === undefined ? 'does not exist' : `is at revision ${revision}`;
  throw new SkerryError('precondition_failed', `${what} ${at}, and the request names ${ifMatch}`, {
    details: revision === undefined ? {} : { revision },
  });
}
