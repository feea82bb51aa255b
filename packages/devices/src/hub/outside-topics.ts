/** Topics of another broker, and whose they are: a pattern with `%p` (project) and `%d` (device), each a level. Pure. */
import { SkerryError } from '@skerry/model';
import type { DeviceIdentity } from '../ports.ts';

export const DEFAULT_OUTSIDE_TOPICS = '%p/%d/#';
const DEFAULT_PROJECT = 'default';

export interface OutsideTopics {
  /** What is subscribed to. */
  readonly filter: string;
  /** Undefined: a topic of nobody. The topic that a stream sees has no level of the project. */
  of(topic: string): (DeviceIdentity & { readonly topic: string }) | undefined;
  /** The topic over there of one here. */
  outside(project: string, topic: string): string;
}

/** Errors: request_invalid. */
export function readOutsideTopics(pattern: string): OutsideTopics {
  const levels = pattern.split('/');
  const [project, device] = [levels.indexOf('%p'), levels.indexOf('%d')];
  const isWhole = levels.every((level, at) => {
    if (level === '%p' || level === '%d') return levels.indexOf(level) === at;
    return level === '#'
      ? at === levels.length - 1
      : !/[#%]/.test(level) && (level === '+' || !level.includes('+'));
  });
  if (device < 0 || !isWhole || (project >= 0 && levels.slice(0, project).some((level) => level === '+')))
    throw new SkerryError(
      'request_invalid',
      `"${pattern}" is no pattern of topics: write it like %p/%d/# or plant/%d/data, with %d for the device and %p for the project`,
    );
  const isRest = levels.at(-1) === '#';
  return {
    filter: levels.map((level) => (level === '%p' || level === '%d' ? '+' : level)).join('/'),
    of(topic) {
      const words = topic.split('/');
      if (isRest ? words.length < levels.length - 1 : words.length !== levels.length) return undefined;
      const fits = levels.every(
        (level, at) => level === '#' || level === '+' || level.startsWith('%') || level === words[at],
      );
      const name = words[device];
      const of = project < 0 ? DEFAULT_PROJECT : words[project];
      if (!fits || !name || !of) return undefined;
      return { project: of, device: name, topic: words.filter((_, at) => at !== project).join('/') };
    },
    outside(of, topic) {
      if (project < 0) return topic;
      const words = topic.split('/');
      return [...words.slice(0, project), of, ...words.slice(project)].join('/');
    },
  };
}
