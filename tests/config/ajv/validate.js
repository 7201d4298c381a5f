// Reads {"schema": …, "documents": […]} from standard input; prints for each document what Ajv finds wrong with it.
// `strict` makes Ajv refuse a schema that it would otherwise only warn of. Ajv compiles patterns with the flag `u`.
const fs = require("fs");
const Ajv = require("ajv/dist/2020");

const { schema, documents } = JSON.parse(fs.readFileSync(0, "utf8"));
const ajv = new Ajv({ strict: true, allowUnionTypes: false, allErrors: true });
const validate = ajv.compile(schema);
const found = documents.map((document) =>
  validate(document) ? [] : validate.errors.map((error) => `${error.instancePath} ${error.message}`),
);
process.stdout.write(JSON.stringify(found));
