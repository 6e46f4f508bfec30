"""The pages, one module a family: what is asked, what is shown, what is changed."""
