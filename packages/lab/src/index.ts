export { chooseLabSubnet } from './addresses.ts';
export { CONTROLLER, type LabFile, parseLabFile } from './lab-file.ts';
export { type LabPlan, planLab } from './plan.ts';
export { type Attachments, type Route, routesOf, shortestWays } from './routes.ts';
export * from './state.ts';
