/** Things by what they have in common, kept up as they change: whoever asks for one group pays for that group alone. */
export interface Groups<T> {
  /** The same id may come back in another group. */
  put(group: string, id: string, thing: T): void;
  delete(group: string, id: string): void;
  of(group: string): T[];
}

export function createGroups<T>(): Groups<T> {
  const groups = new Map<string, Map<string, T>>();
  return {
    put(group, id, thing) {
      const members = groups.get(group);
      if (members) members.set(id, thing);
      else groups.set(group, new Map([[id, thing]]));
    },
    delete(group, id) {
      const members = groups.get(group);
      members?.delete(id);
      if (members?.size === 0) groups.delete(group);
    },
    of: (group) => [...(groups.get(group)?.values() ?? [])],
  };
}
