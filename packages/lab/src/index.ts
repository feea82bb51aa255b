export { controllerDataDir } from './emulate/controller.ts';
export type { LabPrograms } from './emulate/tools.ts';
export { CONTROLLER, type LabFile, parseLabFile } from './lab-file.ts';
export { drawLab, type LabView, type MachineView, wireWords } from './picture.ts';
export { type LabPlan, planLab } from './plan.ts';
export { type Attachments, type Route, routesOf, shortestWays } from './routes.ts';
export {
  chooseLab,
  type LabFolder,
  type LabState,
  labFolder,
  listLabs,
  readLab,
  type WireChange,
} from './state.ts';
export { lookAtLab } from './status.ts';
export { labUp, type UpOptions } from './up.ts';
export {
  changeLink,
  crashNode,
  cutLink,
  execWords,
  healLink,
  labDown,
  type Moved,
  moveClient,
  requireLab,
  startNode,
  type VerbOptions,
} from './verbs.ts';
