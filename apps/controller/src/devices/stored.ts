/** What the store has of devices and streams beside the resources: secrets, which no answer carries, and shadows. Types only. */

export interface DeviceSecrets {
  /** Of the device: another one of the same name has nothing of it. */
  readonly uid: string;
  /** `scrypt$N$r$p$salt$hash` */
  readonly password?: string;
  /** SHA-256 of the only certificate that counts, in hex. */
  readonly fingerprint?: string;
  /** Rises when they are made anew. */
  readonly version: number;
}

export type State = Readonly<Record<string, unknown>>;

export interface DesiredShadow {
  readonly uid: string;
  readonly version: number;
  readonly state: State;
  /** RFC 3339. */
  readonly at: string;
}

export interface ReportedShadow extends DesiredShadow {
  /** Where it was said: versions of two nodes do not compare. */
  readonly node: string;
}

/** By what the sink is: a secret goes to no other place than the one that it was given for. */
export interface StreamSecrets {
  readonly uid: string;
  readonly sinks: Readonly<Record<string, string>>;
}

/** Made when a project's first device wants a certificate; its key is in a folder of the controller. */
export interface OwnAuthority {
  /** Of the project. */
  readonly uid: string;
  readonly pem: string;
}
