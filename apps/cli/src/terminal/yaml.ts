/** YAML output, in a chunk of its own that loads when it is asked for. */
import { stringify } from 'yaml';

export const toYaml = (value: unknown): string => stringify(value);
