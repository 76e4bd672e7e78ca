import type { LayerStore } from '../layer/store.ts';
import type { Config } from '../config/schema.ts';
import { BuildError, exitCode } from '../errors.ts';
import type { Tools } from '../tools/tools.ts';
import type { Base } from './base.ts';
export async function findImageBase(_b: {store: LayerStore}, _t: Tools, _c: Exclude<Config['base'][number], 'debian'>): Promise<Base | undefined> { return undefined; }
export async function makeImageBase(_b: {store: LayerStore}, _t: Tools, _c: Exclude<Config['base'][number], 'debian'>): Promise<Base> { throw new BuildError({ what: 'not yet', code: exitCode.source }); }
