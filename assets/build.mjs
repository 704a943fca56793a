// Brings what the pages take from others into the package: `npm ci && npm run build` in this folder.
// The output is committed, so nobody who uses or tests lorascope needs Node.

import { copyFile, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const VENDOR = "../src/lorascope/server/pages/static/vendor/";
const TESTS = "../tests/browser/vendor/";

const { packages } = JSON.parse(await readFile("package-lock.json", "utf8"));

await copyFile("node_modules/htmx.org/dist/htmx.min.js", `${VENDOR}htmx.min.js`);
await copyFile("node_modules/axe-core/axe.min.js", `${TESTS}axe.min.js`);
const { metafile } = await build({
  stdin: {
    contents: 'export { zoom, zoomIdentity } from "d3-zoom"; export { select } from "d3-selection"; export { default as KDBush } from "kdbush";',
    resolveDir: ".",
  },
  outfile: `${VENDOR}map.min.js`,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  metafile: true,
});

const bundled = new Set(Object.keys(metafile.inputs).map((path) => path.match(/^node_modules\/([^/]+)/)?.[1]).filter(Boolean));
await writeFile(`${VENDOR}LICENCES.txt`, await licences({ "htmx.min.js": ["htmx.org"], "map.min.js": [...bundled].sort() }));
await writeFile(`${TESTS}LICENCES.txt`, await licences({ "axe.min.js": ["axe-core"] }));

async function licences(files) {
  const parts = ["What lies here, from whom and under which licence. Written by assets/build.mjs."];
  for (const [file, names] of Object.entries(files)) {
    for (const name of names) {
      const { version, license } = packages[`node_modules/${name}`];
      const text = (await readFile(`node_modules/${name}/LICENSE`, "utf8")).trim();
      parts.push(`${"=".repeat(80)}\n${file}: ${name} ${version} (${license})\n${"=".repeat(80)}\n\n${text}`);
    }
  }
  return `${parts.join("\n\n")}\n`;
}
