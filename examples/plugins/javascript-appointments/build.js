// Makes dist/component.wasm. With its features disabled, the JavaScript engine imports nothing of the outside world.
import { mkdir, writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const { component } = await componentize({
  sourcePath: 'mapping.js',
  witPath: '../../../wit',
  worldName: 'inbound-mapping',
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await mkdir('dist', { recursive: true });
await writeFile('dist/component.wasm', component);
