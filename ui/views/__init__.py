"""The pages, a module each, with a function of the `CollectionPicker` that draws it."""
