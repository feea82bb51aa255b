/**
 * A step of a stream: each reading of a thermometer comes as a message, and only what matters goes on: a change of three degrees
 * Celsius or more against what was sent last for the same device.
 *
 * `POST /judge` takes `{ id, device, topic, time, value: { temp } }`, in degrees Fahrenheit.
 */
interface Message {
  device: string;
  value: { temp: number; date?: string };
}

const STEP = 3;
const last: Record<string, number> = {};

export function handle({ path, body }: { path: string; body: string }) {
  if (path !== '/judge') return { status: 404, body: 'only /judge is here' };
  const { device, value } = JSON.parse(body) as Message;
  const celsius = Math.round(((value.temp - 32) / 1.8) * 100) / 100;
  const before = last[device];
  if (before !== undefined && Math.abs(celsius - before) < STEP) return undefined;
  last[device] = celsius;
  return { celsius, date: value.date };
}
