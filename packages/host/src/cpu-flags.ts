/** Instructions that the processors of this machine have, as Linux calls them (`rdrand`, `rdseed`; proc_cpuinfo(5)). */
import { readFileSync } from 'node:fs';

export function cpuHas(flag: string): boolean {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  return line.trim().split(/\s+/).includes(flag);
}
