export { createApi } from "./api.ts";
export { openApiDocument } from "./openapi/document.ts";
