// Shows the OpenAPI document that lies beside this page. Where the host has tenants, it asks whose: a key is kept in
// this page alone, and gone with it.
"use strict";

const place = new URL("openapi.json", location.href).href;
const form = document.getElementById("who");
const said = document.getElementById("said");

async function show(key) {
  const bearer = key ? { Authorization: `Bearer ${key}` } : {};
  let answer;
  try {
    answer = await fetch(place, { headers: bearer });
  } catch {
    said.textContent = "The host does not answer.";
    return;
  }
  form.hidden = answer.status !== 401;
  said.textContent = "";
  if (answer.status === 401) {
    said.textContent = key ? "This host does not know that." : "This host serves its tenants: show who you are.";
    document.getElementById("key").focus();
  } else if (answer.ok) {
    draw(bearer, key);
  } else {
    said.textContent = `The host answers ${answer.status}.`;
  }
}

function draw(bearer, key) {
  const ui = SwaggerUIBundle({
    url: place,
    dom_id: "#ui",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    filter: true,
    validatorUrl: null,
    requestInterceptor(request) {
      if (request.loadSpec) Object.assign(request.headers, bearer);
      return request;
    },
    onComplete() {
      if (key) ui.preauthorizeApiKey("key", key);
    },
  });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  show(document.getElementById("key").value.trim());
});
show("");
