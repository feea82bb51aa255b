/** HTTP/1.1 over a {@link TcpClient}: one request, one whole answer. */
import type { Peer } from './peer.ts';
import type { TcpClient } from './tcp-client.ts';

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

export interface Request {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

export function requestBytes(path: string, { method, headers = {}, body }: Request = {}): Buffer {
  const content = body === undefined ? Buffer.alloc(0) : Buffer.from(body);
  const lines = [`${method ?? (body === undefined ? 'GET' : 'POST')} ${path} HTTP/1.1`, 'Host: guest'];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  if (body !== undefined && !('Transfer-Encoding' in headers))
    lines.push(`Content-Length: ${content.length}`);
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), content]);
}

/** Takes one answer from the front of what has been received; undefined while it is not whole. */
function takeAnswer(client: TcpClient, headOnly: boolean): Answer | undefined {
  const end = client.received.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [first = '', ...lines] = client.received.subarray(0, end).toString('latin1').split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const length = headOnly ? 0 : Number(headers['content-length'] ?? 0);
  if (client.received.length < end + 4 + length) return undefined;
  const body = client.received.subarray(end + 4, end + 4 + length).toString('utf8');
  client.received = client.received.subarray(end + 4 + length);
  return { status: Number(first.split(' ')[1]), headers, body };
}

export async function readAnswer(
  client: TcpClient,
  { headOnly = false, limitMs = 45_000 } = {},
): Promise<Answer> {
  let answer: Answer | undefined;
  const whole = () => {
    answer ??= takeAnswer(client, headOnly);
    return answer !== undefined || client.state === 'reset' || client.state === 'ended';
  };
  await client.until(whole, limitMs, 'an HTTP answer');
  if (!answer) throw new Error(`the connection was ${client.state} before an answer`);
  return answer;
}

/** Sends a request on an open connection and reads its answer. */
export async function exchange(
  client: TcpClient,
  path: string,
  request: Request = {},
  limitMs = 45_000,
): Promise<Answer> {
  client.send(requestBytes(path, request));
  return readAnswer(client, { headOnly: request.method === 'HEAD', limitMs });
}

/** One request on a connection of its own. */
export async function fetchOnce(
  peer: Peer,
  path: string,
  request: Request = {},
  limitMs = 45_000,
): Promise<Answer> {
  const client = await peer.connect(8080, limitMs);
  try {
    return await exchange(client, path, request, limitMs);
  } finally {
    client.end();
  }
}

/** The value of one line of /metrics. */
export async function metric(peer: Peer, name: string): Promise<number> {
  const { body } = await fetchOnce(peer, '/metrics');
  const line = body.split('\n').find((l) => l.startsWith(`${name} `));
  if (!line) throw new Error(`no metric ${name} in:\n${body}`);
  return Number(line.slice(name.length + 1));
}
