"""Keys that work anywhere on the page, as long as no field or control would take them itself."""

from collections.abc import Callable, Mapping
from typing import Any

import param
from panel.custom import JSComponent

__all__ = ["Keys"]


class Keys(JSComponent):
    """Calls back at some keys, and takes the reader to a field with `/`.

    Args:
        actions: What to do at each key, by the name that the browser gives it.
        field: Label of the field that `/` leads to.
    """

    names = param.List([], doc="Keys that are listened to.")
    field = param.String("", doc="Label of the field that `/` leads to.")

    _esm = """
    // What lies under the surface of components, too.
    const focused = () => {
      let element = document.activeElement
      while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement
      return element
    }
    const find = (root, label) => {
      for (const element of root.querySelectorAll("*")) {
        if (element.matches("label") && element.textContent.trim().startsWith(label)) {
          const input = element.parentElement.querySelector("input")
          if (input) return input
        }
        const found = element.shadowRoot && find(element.shadowRoot, label)
        if (found) return found
      }
    }
    const takes = "input, textarea, select, button, a, [role=slider], [role=combobox], [role=menu]"
    export function render({model}) {
      const listen = (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || focused()?.closest(takes)) return
        if (event.key === "/") {
          const input = find(document, model.field)
          input?.focus()
          input?.select()
        } else if (model.names.includes(event.key)) {
          model.send_msg(event.key)
        } else {
          return
        }
        event.preventDefault()
      }
      document.addEventListener("keydown", listen)
      model.on("remove", () => document.removeEventListener("keydown", listen))
      return document.createElement("span")
    }
    """

    def __init__(self, actions: Mapping[str, Callable[[], None]], *, field: str) -> None:
        super().__init__(names=list(actions), field=field)
        self._actions = actions

    def _handle_msg(self, msg: Any) -> None:
        if msg in self._actions:
            self._actions[msg]()
