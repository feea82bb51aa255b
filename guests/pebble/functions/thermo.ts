/**
 * The sample function: running statistics over temperature readings, and the readings that stand out.
 *
 * `POST /readings` takes rows with a temperature (`temp`, `temperature`, `value`) and an optional time (`time`, `date`);
 * `GET /` answers the statistics so far; `DELETE /` begins anew. Mean and deviation are Welford's (1962), which stay exact over
 * millions of readings; an outlier is more than three deviations from the mean of all readings before it.
 */
type Row = Record<string, string | number | null>;

interface Outlier {
  time: string | number | null;
  temp: number;
  z: number;
}

const OUTLIER_Z = 3;
const WARM_UP_READINGS = 30;
const OUTLIERS_KEPT = 100;

class RunningStatistics {
  count = 0;
  mean = 0;
  min = Infinity;
  max = -Infinity;
  private squares = 0;

  get deviation(): number {
    return this.count > 1 ? Math.sqrt(this.squares / (this.count - 1)) : 0;
  }

  /** How many deviations `value` lies from the mean; 0 until there is enough to judge by. */
  zScore(value: number): number {
    return this.count >= WARM_UP_READINGS && this.deviation > 0 ? (value - this.mean) / this.deviation : 0;
  }

  add(value: number): void {
    const difference = value - this.mean;
    this.count += 1;
    this.mean += difference / this.count;
    this.squares += difference * (value - this.mean);
    this.min = Math.min(this.min, value);
    this.max = Math.max(this.max, value);
  }

  summary() {
    const { count, mean, min, max, deviation } = this;
    return count === 0 ? { count } : { count, mean: round(mean), min, max, deviation: round(deviation) };
  }
}

const round = (value: number, digits = 3): number => Number(value.toFixed(digits));

let statistics = new RunningStatistics();
let outliers: Outlier[] = [];
let rejected = 0;

function temperatureOf({ temp, temperature, value }: Row): number | undefined {
  const found = temp ?? temperature ?? value;
  return typeof found === 'number' && Number.isFinite(found) ? found : undefined;
}

export function readings(rows: Row[]) {
  const found: Outlier[] = [];
  let accepted = 0;
  for (const row of rows) {
    const temp = temperatureOf(row);
    if (temp === undefined) {
      rejected += 1;
      continue;
    }
    const z = statistics.zScore(temp);
    if (Math.abs(z) > OUTLIER_Z) {
      found.push({ time: row.time ?? row.date ?? null, temp, z: round(z, 1) });
      console.warn(`outlier: ${temp} at ${row.time ?? row.date ?? 'an unknown time'}, z = ${round(z, 1)}`);
    }
    statistics.add(temp);
    accepted += 1;
  }
  outliers = [...outliers, ...found].slice(-OUTLIERS_KEPT);
  return { accepted, outliers: found, ...statistics.summary() };
}

export function handle({ method, path }: { method: string; path: string }) {
  if (path !== '/') return { status: 404, body: { title: 'not found', path } };
  if (method === 'DELETE') {
    statistics = new RunningStatistics();
    outliers = [];
    rejected = 0;
    return undefined;
  }
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, headers: { Allow: 'GET, HEAD, DELETE' } };
  return { ...statistics.summary(), rejected, outliers };
}
