/** Names that a function's file gives to things of its own, wherever in it: they are not the engine's. */
import type * as TS from 'typescript-es5';
import { boundNames } from './exported.ts';

/** With those that it asks for with `typeof`: whoever does so knows that they may be missing. */
export function declaredNames(ts: typeof TS, file: TS.SourceFile): Set<string> {
  const names = new Set<string>();
  const visit = (node: TS.Node): void => {
    if (ts.isVariableDeclaration(node) || ts.isParameter(node))
      for (const name of boundNames(ts, node.name)) names.add(name);
    else if (ts.isTypeOfExpression(node) && ts.isIdentifier(node.expression)) names.add(node.expression.text);
    else if (
      ts.isFunctionDeclaration(node) ||
      ts.isFunctionExpression(node) ||
      ts.isClassLike(node) ||
      ts.isEnumDeclaration(node) ||
      ts.isModuleDeclaration(node)
    ) {
      if (node.name) names.add(node.name.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return names;
}
