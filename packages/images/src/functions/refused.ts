/** Constructs that have no lowering for pebble's engine: found in the tree, so that the user hears of them with their line. */
import type * as TS from 'typescript-es5';

export interface Refused {
  readonly node: TS.Node;
  readonly message: string;
}

const MISSING_GLOBALS: Record<string, string> = {
  Promise: 'the guest has no Promise: a function answers at once',
  fetch: 'the guest makes no requests of its own: answer with what the caller is to do',
  setTimeout: 'the guest has no timers: a function runs when it is asked',
  setInterval: 'the guest has no timers: a function runs when it is asked',
  queueMicrotask: 'the guest has no event loop',
  BigInt: 'the engine has no BigInt: use numbers, or text for large ones',
  Intl: 'the engine has no Intl',
  Atomics: 'the engine has no Atomics',
  SharedArrayBuffer: 'the engine has no SharedArrayBuffer',
};

/** The first such construct in the order of the text; undefined where all can be lowered. */
export function findRefused(ts: typeof TS, file: TS.SourceFile): Refused | undefined {
  const declared = declaredNames(ts, file);
  const judge = (node: TS.Node): string | undefined => {
    const { SyntaxKind } = ts;
    if (ts.isFunctionLike(node)) {
      const modifiers = ts.canHaveModifiers(node) ? ts.getModifiers(node) : undefined;
      if (modifiers?.some((one) => one.kind === SyntaxKind.AsyncKeyword))
        return 'async functions can not be lowered: the guest has no Promise and no event loop';
      if ((node as TS.FunctionLikeDeclarationBase).asteriskToken)
        return 'generators can not be lowered for this engine: build an array instead';
    }
    if (ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier))
      return 'await can not be lowered: the guest has no event loop';
    if (ts.isBigIntLiteral(node)) return 'BigInt can not be lowered: use numbers, or text for large ones';
    if (ts.isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword)
      return 'import() can not be lowered: a function is one file';
    if (ts.isImportDeclaration(node) && !typesOnly(node))
      return 'import can not be lowered: a function is one file without modules';
    if (ts.isImportEqualsDeclaration(node))
      return 'import can not be lowered: a function is one file without modules';
    if (ts.isExportDeclaration(node) && node.moduleSpecifier && !node.isTypeOnly)
      return 'export … from can not be lowered: a function is one file without modules';
    if (ts.isMetaProperty(node)) return `${node.getText(file)} can not be lowered`;
    if (ts.isDecorator(node)) return 'decorators can not be lowered for this engine';
    if (ts.isWithStatement(node)) return 'with is not allowed in strict code';
    if (ts.isRegularExpressionLiteral(node)) return judgeRegularExpression(node.text);
    if (
      ts.isCallExpression(node) &&
      ts.isIdentifier(node.expression) &&
      node.expression.text === 'require' &&
      !declared.has('require')
    ) {
      return 'require finds no modules in the guest: a function is one file';
    }
    if (
      ts.isIdentifier(node) &&
      Object.hasOwn(MISSING_GLOBALS, node.text) &&
      !declared.has(node.text) &&
      isReference(ts, node)
    ) {
      return MISSING_GLOBALS[node.text];
    }
    return undefined;
  };
  const visit = (node: TS.Node): Refused | undefined => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node))
      return undefined;
    const message = judge(node);
    if (message) return { node, message };
    return ts.forEachChild(node, visit);
  };
  return visit(file);
}

const typesOnly = (node: TS.ImportDeclaration) => node.importClause?.isTypeOnly === true;

function judgeRegularExpression(text: string): string | undefined {
  const flags = text.slice(text.lastIndexOf('/') + 1);
  const strange = [...flags].find((flag) => !'gim'.includes(flag));
  if (strange) return `the engine knows the flags g, i and m of regular expressions, not ${strange}`;
  if (/\(\?<[=!]/.test(text)) return 'the engine has no look-behind in regular expressions';
  if (/\(\?<[A-Za-z]/.test(text)) return 'the engine has no named groups in regular expressions: count them';
  if (/\\[pP]\{/.test(text)) return 'the engine has no Unicode classes in regular expressions';
  return undefined;
}

/** Whether an identifier stands for a value here, not for a property or a label. */
function isReference(ts: typeof TS, node: TS.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  if (ts.isPropertyAssignment(parent) || ts.isMethodDeclaration(parent) || ts.isPropertyDeclaration(parent))
    return parent.name !== node;
  if (ts.isTypeReferenceNode(parent) || ts.isExpressionWithTypeArguments(parent)) return false;
  return true;
}

function declaredNames(ts: typeof TS, file: TS.SourceFile): Set<string> {
  const names = new Set<string>();
  const visit = (node: TS.Node): void => {
    const isNamed =
      ts.isVariableDeclaration(node) ||
      ts.isParameter(node) ||
      ts.isFunctionDeclaration(node) ||
      ts.isClassDeclaration(node);
    if (isNamed && node.name && ts.isIdentifier(node.name)) names.add(node.name.text);
    ts.forEachChild(node, visit);
  };
  visit(file);
  return names;
}
