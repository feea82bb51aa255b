/** What a function's file exports: whether there is anything to call, and what `skerry image show` tells. */
import type * as TS from 'typescript-es5';

/** `*` stands for an assignment to `module.exports` or `exports`, of which only running it would tell. */
export function exportedNames(ts: typeof TS, file: TS.SourceFile): string[] {
  const names = new Set<string>();
  for (const statement of file.statements) for (const name of namesOf(ts, statement, file)) names.add(name);
  return [...names];
}

function namesOf(ts: typeof TS, statement: TS.Statement, file: TS.SourceFile): string[] {
  if (ts.isExportAssignment(statement)) return ['default'];
  if (ts.isExportDeclaration(statement)) {
    const { exportClause, isTypeOnly } = statement;
    if (isTypeOnly || !exportClause || !ts.isNamedExports(exportClause)) return [];
    return exportClause.elements.filter((one) => !one.isTypeOnly).map((one) => one.name.text);
  }
  if (ts.isExpressionStatement(statement)) {
    const text = statement.getText(file);
    const name = /^(?:module\.)?exports\.(\w+)\s*=/.exec(text)?.[1];
    return name
      ? [name]
      : /^(?:module\.)?exports\b|^Object\.\w+\(\s*(?:module\.)?exports\b/.test(text)
        ? ['*']
        : [];
  }
  const modifiers = ts.canHaveModifiers(statement) ? (ts.getModifiers(statement) ?? []) : [];
  const has = (kind: TS.SyntaxKind) => modifiers.some((one) => one.kind === kind);
  if (!has(ts.SyntaxKind.ExportKeyword) || has(ts.SyntaxKind.DeclareKeyword)) return [];
  if (has(ts.SyntaxKind.DefaultKeyword)) return ['default'];
  if (ts.isVariableStatement(statement))
    return statement.declarationList.declarations.flatMap((one) => boundNames(ts, one.name));
  const isValue =
    ts.isFunctionDeclaration(statement) ||
    ts.isClassDeclaration(statement) ||
    ts.isEnumDeclaration(statement);
  return isValue && statement.name ? [statement.name.text] : [];
}

/** The names of `a` or of `{ a, b: [c] }`. */
export function boundNames(ts: typeof TS, name: TS.BindingName): string[] {
  if (ts.isIdentifier(name)) return [name.text];
  return name.elements.flatMap((one) => (ts.isBindingElement(one) ? boundNames(ts, one.name) : []));
}
