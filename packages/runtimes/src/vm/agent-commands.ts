/**
 * What is asked of the agent inside a guest (QEMU's "guest agent protocol"), how long and how large an answer may be, and
 * its shape: an answer is a guest's word, and one of another shape is none.
 */
import Type, { type Static, type TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';

const KiB = 1024;

interface Rule<S extends TSchema> {
  readonly answer: S;
  readonly limitMs: number;
  readonly limitBytes: number;
}

const rule = <S extends TSchema>(answer: S, more: Partial<Omit<Rule<S>, 'answer'>> = {}): Rule<S> => ({
  ...{ answer, limitMs: 5000, limitBytes: 256 * KiB },
  ...more,
});

export const AGENT_COMMANDS = {
  'guest-ping': rule(Type.Object({})),
  'guest-exec': rule(Type.Object({ pid: Type.Integer() })),
  'guest-exec-status': rule(
    Type.Object({
      exited: Type.Boolean(),
      exitcode: Type.Optional(Type.Integer()),
      signal: Type.Optional(Type.Integer()),
      'out-data': Type.Optional(Type.String()),
      'err-data': Type.Optional(Type.String()),
    }),
    // the agent keeps 16 MiB of either stream (qga/commands.c, GUEST_EXEC_MAX_OUTPUT), and sends them in base64
    { limitBytes: 48 * KiB * KiB },
  ),
  'guest-network-get-interfaces': rule(
    Type.Array(
      Type.Object({
        'ip-addresses': Type.Optional(Type.Array(Type.Object({ 'ip-address': Type.String() }))),
      }),
    ),
  ),
  /** What waits to be written is written first: with a slow disk that takes its time. */
  'guest-fsfreeze-freeze': rule(Type.Integer(), { limitMs: 20_000 }),
  'guest-fsfreeze-thaw': rule(Type.Integer(), { limitMs: 10_000 }),
  'guest-fsfreeze-status': rule(Type.Enum(['thawed', 'frozen'])),
} as const;

export type AgentCommand = keyof typeof AGENT_COMMANDS;
export type AgentAnswer<C extends AgentCommand> = Static<(typeof AGENT_COMMANDS)[C]['answer']>;

export interface AgentInputs {
  'guest-exec': {
    readonly path: string;
    readonly arg: readonly string[];
    readonly env: readonly string[];
    readonly 'capture-output': boolean;
  };
  'guest-exec-status': { readonly pid: number };
}
export type AgentInput<C extends AgentCommand> = C extends keyof AgentInputs ? [AgentInputs[C]] : [];

const validators = new Map<AgentCommand, Validator>();

/** Whether an answer has the shape of its command's. */
export function isAnswer<C extends AgentCommand>(command: C, value: unknown): value is AgentAnswer<C> {
  const known = validators.get(command) ?? Compile(AGENT_COMMANDS[command].answer as TSchema);
  validators.set(command, known);
  return known.Check(value);
}
