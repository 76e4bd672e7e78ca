/**
 * Writes the generated parts of docs/: `node ci/docs.ts`. A part of a file stands between <!-- NAME --> and
 * <!-- end --> in its file; ci/docs.test.ts fails when one is stale.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gatewayConfig } from '../builder/config/gateway.ts';
import { loadConfig } from '../builder/config/load.ts';
import { loadStages } from '../builder/stages.ts';
import { operationTable, routesModule } from '../gateway/api/docs.ts';
import { complianceDocs } from '../gateway/compliance/docs.ts';
import { answerTables, commonTable, settingTable } from '../gateway/ddns/docs.ts';
import { settingsTables } from '../gateway/settings/docs.ts';
import type { FirewallOptions } from '../stages/firewall/options.ts';
import { policyOf, report, type ZoneReport } from '../stages/firewall/zones.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Path and content of every file that has generated parts, as it should be. */
export async function docs(): Promise<Record<string, string>> {
  const path = 'docs/zones.md';
  const zones = await routerZones();
  const text = await readFile(join(root, path), 'utf8');
  return {
    [path]: [
      ['zone table', table(zones)],
      ['zone reasons', reasons(zones)],
      ['zone ports', ports(zones)],
    ].reduce((so, [name = '', part = '']) => fill(so, name, part), text),
    'docs/ddns.md': [
      ['ddns settings', settingTable()],
      ['ddns common', commonTable()],
      ['ddns answers', answerTables()],
    ].reduce(
      (so, [name = '', part = '']) => fill(so, name, part),
      await readFile(join(root, 'docs/ddns.md'), 'utf8'),
    ),
    'docs/settings.md': fill(
      await readFile(join(root, 'docs/settings.md'), 'utf8'),
      'settings',
      settingsTables(),
    ),
    'docs/api.md': fill(
      await readFile(join(root, 'docs/api.md'), 'utf8'),
      'operations',
      operationTable(),
    ),
    'gateway/api/routes.ts': routesModule(),
    'docs/compliance.md': complianceDocs(),
  };
}

function fill(text: string, name: string, part: string): string {
  const [before, rest] = text.split(`<!-- ${name} -->\n`);
  const after = rest?.split('<!-- end -->');
  if (before === undefined || after === undefined || after.length < 2)
    throw new Error(`docs have no place for '${name}'`);
  return `${before}<!-- ${name} -->\n${part}\n<!-- end -->${after.slice(1).join('<!-- end -->')}`;
}

/** The policy of environments/router.yaml, which has every zone; nobody's gateway.local.yaml is in it. */
async function routerZones(): Promise<ZoneReport> {
  const stages = (await loadStages(root)).map((stage) => stage.definition);
  const folder = join(root, 'environments');
  const { config } = await loadConfig({ root: folder, file: join(folder, 'router.yaml'), stages });
  const enabled = stages.filter(({ name }) => Object.hasOwn(config.stages, name));
  return report(
    policyOf(config.stages.firewall as FirewallOptions, gatewayConfig(config, enabled)),
  );
}

function table({ zones, table: cells }: ZoneReport): string {
  const row = (parts: readonly string[]) => `| ${parts.join(' | ')} |`;
  const names = zones.map((zone) => zone.name);
  const mark = (from: string, to: string) => {
    const cell = cells.find((one) => one.from === from && one.to === to);
    return cell?.passes ? '**yes**' : cell && cell.exceptions.length > 0 ? 'no ¹' : 'no';
  };
  return [
    row(['from ↓ to →', ...names]),
    row(['---', ...names.map(() => '---')]),
    ...names.map((from) => row([`**${from}**`, ...names.map((to) => mark(from, to))])),
    '',
    ...cells.flatMap((cell) =>
      cell.exceptions.map((text) => `¹ ${cell.from} → ${cell.to} but for ${text} (\`allow\`)`),
    ),
  ].join('\n');
}

/** Cells that have one reason are one line. */
function reasons({ table: cells }: ZoneReport): string {
  const groups = new Map<string, string[]>();
  for (const { from, to, passes, because } of cells) {
    const key = `${from} ${passes} ${because}`;
    groups.set(key, [...(groups.get(key) ?? []), to]);
  }
  return [...groups]
    .map(([key, to]) => {
      const [from = '', passes = '', ...because] = key.split(' ');
      return `- ${from} → ${to.join(', ')}: ${passes === 'true' ? 'yes' : 'no'}. ${because.join(' ')}.`;
    })
    .join('\n');
}

function ports({ zones }: ZoneReport): string {
  return [
    '| from | services of the gateway |',
    '| --- | --- |',
    ...zones.map((zone) => `| **${zone.name}** | ${zone.gateway.join(', ') || 'none'} |`),
  ].join('\n');
}

if (import.meta.main)
  for (const [path, text] of Object.entries(await docs())) await writeFile(join(root, path), text);
