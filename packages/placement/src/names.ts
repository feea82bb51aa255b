/** Names to dense numbers from 0, and back. A name keeps its number for as long as the table lives; nothing is taken out. */

export interface Names {
  readonly size: number;
  /** The number of a name, given now if it has none. */
  number(name: string): number;
  /** -1 when the name was never given a number. */
  find(name: string): number;
  name(number: number): string;
}

export function createNames(): Names {
  const numbers = new Map<string, number>();
  const names: string[] = [];
  return {
    get size() {
      return names.length;
    },
    number(name) {
      let number = numbers.get(name);
      if (number === undefined) {
        number = names.length;
        numbers.set(name, number);
        names.push(name);
      }
      return number;
    },
    find: (name) => numbers.get(name) ?? -1,
    name: (number) => names[number]!,
  };
}
