export { checkManifest, manifestInvalid, requireManifest } from '../manifest/check.ts';
export { flawOfNetworkConfig, flawOfUserData } from '../manifest/cloud-init.ts';
export { fieldOf, refusals, validatorOf } from '../manifest/explain.ts';
export * from '../manifest/kinds.ts';
export {
  LONGEST_MANIFEST_BYTES,
  type ParsedManifest,
  type ParseOptions,
  parseManifests,
} from '../manifest/parse.ts';
export * as Answers from './answers.ts';
export { openApi } from './openapi.ts';
export { ROUTE_SCHEMAS, type RouteSchemas, schemasOf } from './route-schemas.ts';
