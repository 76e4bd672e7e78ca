import { writeFileSync } from 'node:fs';
import { complianceDocs } from '../gateway/compliance/docs.ts';

/* Writes docs/compliance.md: node ci/docs-compliance.ts. A unit test fails when it is stale. */
writeFileSync(new URL('../docs/compliance.md', import.meta.url), complianceDocs());
