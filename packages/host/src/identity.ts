/**
 * The identity of a data folder, and every host-wide name that derives from it: bridge, namespaces, tables, cgroups.
 * Two instances of Skerry on one machine differ in it, so they never touch each other's things.
 * Interface names have at most 15 characters (IFNAMSIZ, linux/if.h); the 8 of the id leave room for a kind and a slot.
 */
export interface Identity {
  /** 8 lower-case hex digits, drawn once when the data folder is made. */
  readonly id: string;
  /** Absolute path of the data folder: what must survive. */
  readonly dataDir: string;
  /** `/run/skerry/<id>`: sockets and pid files; gone after a reboot. Short, for sun_path has 108 bytes (unix(7)). */
  readonly runDir: string;
  readonly bridge: string;
  /** nftables table of the families inet and, where needed, bridge. */
  readonly nftTable: string;
  /** Path below each cgroup controller, and in the unified tree: `/skerry-<id>`. */
  readonly cgroup: string;
  readonly netnsPrefix: string;
  readonly interfacePrefix: string;
  /** containerd's namespace for our containers. */
  readonly engineNamespace: string;
}

export function identityOf(id: string, dataDir: string): Identity {
  return {
    id,
    dataDir,
    runDir: `/run/skerry/${id}`,
    bridge: `sk${id}br`,
    nftTable: `skerry_${id}`,
    cgroup: `/skerry-${id}`,
    netnsPrefix: `skerry-${id}-`,
    interfacePrefix: `sk${id}`,
    engineNamespace: `skerry-${id}`,
  };
}

/** Name of the host's side of an instance's interface: kind `v` (veth) or `t` (tap) and its slot in base 36. */
export function interfaceName(identity: Identity, kind: 'v' | 't' | 'i', slot: number): string {
  return `${identity.interfacePrefix}${kind}${slot.toString(36)}`;
}
