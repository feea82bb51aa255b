/** A registry on loopback that asks for tokens and misbehaves as a test tells it to; it notes what it was asked for. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { descriptorOf, digestOf, type TestImage, testArchitecture } from '@skerry/testkit';

export const USER = { username: 'ada', password: 'secret' };
const TOKEN = 't0ken';
const INDEX = 'application/vnd.oci.image.index.v1+json';

export class FakeRegistry {
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, { type: string; body: string }>();
  /** `GET path` and the range that was asked for, in order. */
  readonly asked: string[] = [];
  /** Authorization headers that arrived at the other host, to which blobs are moved. */
  readonly elsewhere: (string | undefined)[] = [];
  /** Ends the connection after so many bytes of a blob. */
  cutAfter: number | undefined;
  /** How many of the following requests are answered with 503. */
  failures = 0;
  /** Blobs have the right length and other bytes. */
  lies = false;
  ignoresRanges = false;
  movesBlobs = false;
  otherHostAsks = false;
  /** `127.0.0.1:PORT`, also after the end. */
  host = '';
  readonly #server: Server;
  readonly #other: Server;

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
    this.#other = createServer((request, response) => {
      this.elsewhere.push(request.headers.authorization);
      if (this.otherHostAsks) {
        const realm = `Basic realm="http://${this.host}/"`;
        response.writeHead(401, { 'www-authenticate': realm }).end();
      } else this.#blob(decodeURIComponent(request.url!.slice(1)), request, response);
    });
  }

  static async start(): Promise<FakeRegistry> {
    const registry = new FakeRegistry();
    for (const server of [registry.#server, registry.#other])
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    registry.host = `127.0.0.1:${(registry.#server.address() as AddressInfo).port}`;
    return registry;
  }

  stop(): void {
    for (const server of [this.#server, this.#other]) {
      server.closeAllConnections();
      server.close();
    }
  }

  /** As `app:<tag>`, in an index with another platform's. */
  add(tag: string, image: TestImage): void {
    for (const blob of [image.config, ...image.layers]) this.blobs.set(blob.digest, blob.data);
    const { digest, data, mediaType } = image.manifest;
    this.manifests.set(digest, { type: mediaType, body: data.toString() });
    const mine = {
      ...descriptorOf(image.manifest),
      platform: { os: 'linux', architecture: testArchitecture() },
    };
    const other = { ...mine, digest: digestOf('other'), platform: { os: 'linux', architecture: 's390x' } };
    const body = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: [other, mine] });
    this.manifests.set(tag, { type: INDEX, body });
  }

  #answer(request: IncomingMessage, response: ServerResponse): unknown {
    const url = new URL(request.url!, 'http://x');
    if (url.pathname === '/token') return this.#token(url, request, response);
    this.asked.push(
      `${url.pathname.replace('/v2/app/', '')}${request.headers.range ? ` ${request.headers.range}` : ''}`,
    );
    if (this.failures > 0) {
      this.failures--;
      return response.writeHead(503).end();
    }
    if (request.headers.authorization !== `Bearer ${TOKEN}`) {
      const challenge = `Bearer realm="http://${this.host}/token",service="test",scope="repository:app:pull"`;
      return response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    const [, kind, name] = /^\/v2\/app\/(manifests|blobs)\/(.+)$/.exec(url.pathname) ?? [];
    const manifest = kind === 'manifests' ? this.manifests.get(name!) : undefined;
    if (manifest) return response.writeHead(200, { 'content-type': manifest.type }).end(manifest.body);
    if (kind !== 'blobs') return response.writeHead(404).end();
    if (!this.movesBlobs) return this.#blob(name!, request, response);
    const { port } = this.#other.address() as AddressInfo;
    const location = `http://127.0.0.1:${port}/${encodeURIComponent(name!)}`;
    return response.writeHead(307, { location }).end();
  }

  #token(url: URL, request: IncomingMessage, response: ServerResponse): unknown {
    const { username, password } = USER;
    const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    const right =
      request.headers.authorization === basic &&
      url.searchParams.get('service') === 'test' &&
      url.searchParams.get('scope') === 'repository:app:pull';
    return right ? response.end(JSON.stringify({ token: TOKEN })) : response.writeHead(401).end();
  }

  #blob(digest: string, request: IncomingMessage, response: ServerResponse): unknown {
    const blob = this.blobs.get(digest);
    if (!blob) return response.writeHead(404).end();
    const wanted = this.ignoresRanges ? undefined : /bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1];
    const from = Number(wanted ?? 0);
    if (from >= blob.length) return response.writeHead(416).end();
    const part = this.lies ? Buffer.alloc(blob.length - from, 7) : blob.subarray(from);
    response.writeHead(wanted === undefined ? 200 : 206, {
      'content-length': part.length,
      ...(wanted === undefined ? {} : { 'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}` }),
    });
    if (this.cutAfter === undefined || part.length <= this.cutAfter) return response.end(part);
    return response.write(part.subarray(0, this.cutAfter), () => response.destroy());
  }
}
