/** The files that points go out as, for whoever has points; nothing of it reads or keeps any. */
export { csvOf } from './csv.ts';
export { parquetOf } from './parquet.ts';
