/** Whose certificate it is: signed by an authority of a project, in force, with the device as its name. Pure but for the clock. */
import { createHash, X509Certificate } from 'node:crypto';
import { NAME_PATTERN } from '@skerry/model';

export interface CertificateName {
  readonly project: string;
  readonly device: string;
  /** SHA-256, in hex. */
  readonly fingerprint: string;
}

const NAME = new RegExp(NAME_PATTERN);
const DEFAULT_PROJECT = 'default';

/** The value of a part of the subject, by its own line in what Node prints of it. */
function partOf(subject: string, part: string): string | undefined {
  const lines = subject.split('\n').filter((line) => line.startsWith(`${part}=`));
  return lines.length === 1 ? lines[0]!.slice(part.length + 1) : undefined;
}

/** CN `device` with O `project` (or none: the default project), or CN `project/device`. */
export function namesOf(subject: string): { project: string; device: string } | undefined {
  const common = partOf(subject, 'CN');
  if (common === undefined) return undefined;
  const [left = '', right, ...more] = common.split('/');
  const project = right === undefined ? (partOf(subject, 'O') ?? DEFAULT_PROJECT) : left;
  const device = right ?? left;
  if (more.length > 0 || !NAME.test(project) || !NAME.test(device)) return undefined;
  return { project, device };
}

/** Parsed authorities, by their PEM: signatures are checked at each connection, PEM is read once. */
const parsed = new Map<string, X509Certificate>();
const MOST_PARSED = 1000;

function authorityOf(pem: string): X509Certificate | undefined {
  const known = parsed.get(pem);
  if (known) return known;
  try {
    const certificate = new X509Certificate(pem);
    if (parsed.size >= MOST_PARSED) parsed.clear();
    parsed.set(pem, certificate);
    return certificate;
  } catch {
    return undefined;
  }
}

const inForce = ({ validFrom, validTo }: X509Certificate, nowMs: number): boolean =>
  Date.parse(validFrom) <= nowMs && nowMs < Date.parse(validTo);

/** `der`: what the other side proved to have the key of. Undefined: no authority of the project that it names signed it. */
export function readCertificate(
  der: Uint8Array,
  authoritiesOf: (project: string) => readonly string[],
  nowMs: number,
): CertificateName | undefined {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
  } catch {
    return undefined;
  }
  const names = namesOf(certificate.subject);
  if (!names || certificate.ca || !inForce(certificate, nowMs)) return undefined;
  const isSigned = authoritiesOf(names.project).some((pem) => {
    const authority = authorityOf(pem);
    return (
      authority?.ca === true &&
      inForce(authority, nowMs) &&
      certificate.checkIssued(authority) &&
      certificate.verify(authority.publicKey)
    );
  });
  if (!isSigned) return undefined;
  return { ...names, fingerprint: createHash('sha256').update(certificate.raw).digest('hex') };
}
