/** Between errors and problem documents (RFC 9457). Only public text crosses: never a cause, never a stack. */
import { asSkerryError, ERRORS, type ErrorCode, SkerryError } from '@skerry/model';
import type { Problem } from './streams.ts';

export function toProblem(thrown: unknown): Problem {
  const error = asSkerryError(thrown);
  const { status, title, remedy } = ERRORS[error.code];
  // The words of an unforeseen error may hold paths or values that are nobody's business: they go to the log only.
  const detail = error.code === 'internal' ? 'An error that was not foreseen.' : error.message;
  return {
    type: `urn:skerry:error:${error.code}`,
    title,
    status,
    detail,
    code: error.code,
    remedy,
    ...(Object.keys(error.details).length > 0 && { details: error.details }),
  };
}

/** Any body that claims to be a problem, as an error; `status` where the body says nothing. */
export function fromProblem(body: unknown, status: number): SkerryError {
  const problem = (typeof body === 'object' && body !== null ? body : {}) as Partial<Problem>;
  const known = typeof problem.code === 'string' && Object.hasOwn(ERRORS, problem.code);
  const code: ErrorCode = known ? problem.code! : status >= 500 ? 'unavailable' : 'request_invalid';
  return new SkerryError(code, problem.detail ?? `the server answered with status ${status}`, {
    details: problem.details ?? {},
  });
}
